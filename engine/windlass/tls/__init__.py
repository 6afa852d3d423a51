"""The certificate that the doors show: its files, and how it is renewed without a restart."""
