"""What the parts of a node report: metrics and log lines, all named here (contract 8.1, 8.4)."""
