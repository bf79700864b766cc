"""The public port: answers plain lookups by itself, and hands everything else to aiohttp.

`server` makes the protocol of each connection. `protocol` reads requests (`request_heads`,
`known_headers`) and writes answers (`response_heads`, `bodiless`); `connection` is what it does
whatever is asked. `plain_sockets` and `plain_transport` carry the bytes, `tls_transport` encrypts
them, `handshakes` begins that. `connections` is the registry of the open ones and their time-outs.
`handover` is aiohttp's part, `tracing` the spans.
"""
