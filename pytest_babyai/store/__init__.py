"""The embedded store: ClickHouse's engine (chdb) in a process of its own, behind HTTP.

`EmbeddedStore` in `embedded` starts, joins and stops it. `server` is that process, `http` speaks
ClickHouse's HTTP interface, `group_commit` and `engine` write and read.

A SELECT of one row by its key costs the engine 4 ms of one processor, however few rows there are:
1.1 ms before anything is planned (`SELECT 1`: copies of the settings, threads, a pipeline), 1 ms to
resolve names, 2 ms to plan the reading of a MergeTree (`EXPLAIN PLAN` alone costs nearly as much as
the query) and less than 1 ms to read. All of it is computing, none of it waiting: fewer threads,
parts, caches, logs or profilers, a compiled expression, or a connection that is kept do not change
it. What helps is to ask once for many keys, which costs hardly more than to ask for one.
"""
