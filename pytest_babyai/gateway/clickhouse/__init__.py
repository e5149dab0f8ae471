"""The embedded store's server: ClickHouse's engine (chdb) behind ClickHouse's HTTP interface.

It runs in a process of its own, which `pytest_babyai.gateway.store.EmbeddedStore` starts.
"""
