"""The trace sink: takes OTLP over HTTP, keeps spans in SQLite, answers Jaeger's query for one trace."""
