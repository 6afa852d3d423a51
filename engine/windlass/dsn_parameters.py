"""The parameters that a DSN may hold besides host, user and password: ours, the server's, and other drivers'."""

from __future__ import annotations

from collections.abc import Mapping

_CONNECTION = """
    database dbname gsslib host krbsrvname passfile password port service ssl_max_protocol_version
    ssl_min_protocol_version sslcert sslcrl sslkey sslmode sslnegotiation sslpassword sslrootcert target_session_attrs
    user
"""
_SESSION = """
    idle_session_timeout lock_timeout options role search_path statement_timeout tcp_keepalives_count
    tcp_keepalives_idle tcp_keepalives_interval work_mem
"""
_SET_BY_THE_ENGINE = """
    application_name client_encoding default_transaction_deferrable default_transaction_isolation enable_hashjoin
    enable_mergejoin enable_seqscan
    idle_in_transaction_session_timeout jit plan_cache_mode timezone
"""
_LIBPQ = """
    channel_binding connect_timeout fallback_application_name gssdelegation gssencmode keepalives keepalives_count
    keepalives_idle keepalives_interval load_balance_hosts require_auth sslcertmode sslcompression sslsni
    tcp_user_timeout
"""
_PGX_AND_PQ = """
    binary_parameters default_query_exec_mode description_cache_capacity min_read_buffer_size
    pool_health_check_period pool_max_conn_idle_time pool_max_conn_lifetime pool_max_conn_lifetime_jitter
    pool_max_conns pool_min_conns pool_min_idle_conns pool_ping_timeout prefer_simple_protocol
    statement_cache_capacity statement_cache_mode
"""
_PRISMA = """
    connection_limit max_connection_lifetime max_idle_connection_lifetime pgbouncer pool_timeout
    single_use_connections socket_timeout statement_cache_size
"""
_JDBC_SQLALCHEMY_SUPABASE = """
    adaptivefetch applicationname binarytransfer connecttimeout defaultrowfetchsize logintimeout
    prepared_statement_cache_size preparethreshold rewritebatchedinserts sockettimeout supa tcpkeepalive
"""

#: What the driver reads: the names of libpq (https://www.postgresql.org/docs/current/libpq-connect.html).
CONNECTION = frozenset(_CONNECTION.split())
#: Sent to the server as settings of each session; all others go into `options=-c NAME=VALUE`.
SESSION = frozenset(_SESSION.split())
#: Every session of the engine gets these from the engine, whatever the DSN says.
SET_BY_THE_ENGINE = frozenset(_SET_BY_THE_ENGINE.split())
#: Without meaning for this engine: its driver needs none of them, or a variable of the engine decides.
OF_OTHER_DRIVERS = frozenset(f"{_LIBPQ} {_PGX_AND_PQ} {_PRISMA} {_JDBC_SQLALCHEMY_SUPABASE}".split())

#: Where the tables are, as Prisma and JDBC write it: the same as WINDLASS_SCHEMA.
SCHEMA = frozenset({"schema", "currentschema"})

#: Not ignored, since then less would be protected, or something else used, than was asked for; with the remedy.
REFUSED: Mapping[str, str] = {
    "hostaddr": "write the address as the host",
    "requirepeer": "this engine's driver cannot check it: leave it out",
    "servicefile": "set PGSERVICEFILE",
    "ssl": "write sslmode=require, or sslmode=verify-full to check the server's certificate",
    "sslaccept": "write sslmode=verify-full, or sslmode=require to accept any certificate",
    "sslcrldir": "write sslcrl with a file",
    "sslidentity": "write sslcert and sslkey with PEM files",
    "targetservertype": "write target_session_attrs",
}

#: A parameter that is ignored must not be one that asks for protection.
DEMANDS = frozenset({"channel_binding", "gssencmode", "sslcertmode"})

CHOICES: Mapping[str, tuple[str, ...]] = {
    "gsslib": ("gssapi", "sspi"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
}

#: The variables in which the driver looks for what the DSN does not say, and the parameter that each stands for.
ENVIRONMENT: Mapping[str, str] = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
    "PGPASSFILE": "passfile",
    "PGSERVICEFILE": "servicefile",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGKRBSRVNAME": "krbsrvname",
    "PGGSSLIB": "gsslib",
}
