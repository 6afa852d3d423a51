"""The names of the variables that are the chart's own, which nobody may set beside it."""

from effects import PARTS
from rendering import KAFKA, engine, merged, rendered

OWN_VARIABLES = [
    variable["name"]
    for variable in engine(
        rendered(
            merged(
                PARTS,
                KAFKA,
                {
                    "kafka": {"tlsServerName": "kafka.example", "tls": {"existingSecret": "kafka-ca"}},
                    "engine": {
                        "db": {"maxConns": 8, "minConns": 1},
                        "retentionDays": 90,
                        "idleTimeoutSeconds": 620,
                        "grpc": {"connectionAgeSeconds": 60},
                        "strictSettings": True,
                        "wakeBus": "redis",
                    },
                    "redis": {
                        "existingSecret": "windlass-redis",
                        "secretKeys": {"url": "url", "password": "password"},
                        "tls": {"existingSecret": "redis-ca"},
                    },
                    "postgresql": {
                        "sslmode": "verify-full",
                        "tls": {"existingSecret": "ca"},
                        "database": "orders",
                        "session": {"host": "db-direct"},
                        "pooler": "transaction",
                        "schema": "orders",
                    },
                    "migrations": {"onStartup": False},
                    "tests": {"existingSecret": "test"},
                    "auth": {
                        "existingSecret": "tokens",
                        "metricsTokens": {"enabled": True},
                        "jwt": {
                            "issuer": "https://id",
                            "audience": "a",
                            "jwksUrl": "https://id/keys",
                            "tls": {"existingSecret": "ca"},
                            "roles": [{"value": "a", "role": "admin"}],
                            "jobTypesClaim": "j",
                            "definitionsClaim": "d",
                        },
                    },
                    "tracing": {
                        "endpoint": "https://collector",
                        "existingSecret": "headers",
                        "tls": {"existingSecret": "collector-ca"},
                    },
                    "tls": {"existingSecret": "tls", "clientCASecret": "callers", "metrics": False},
                    "cors": {"origins": ["https://a"]},
                },
            )
        )
    )["env"]
] + ["WINDLASS_SERVER_ID", "WINDLASS_JWT_JWKS_FILE"]
"""Every variable that the chart ever sets on an engine, with those of which it sets another in their place."""
