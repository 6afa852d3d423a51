"""Redis, or Valkey, as the wake bus; `dispatch/buses.py` imports it when it is chosen."""
