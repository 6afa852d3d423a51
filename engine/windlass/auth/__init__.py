"""Who may call what: tokens, roles, the table of calls, and the gate that both doors ask before they read a body."""
