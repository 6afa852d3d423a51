module windlass-bench-driver

go 1.22
