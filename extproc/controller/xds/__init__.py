"""The controller as Envoy's control plane: what the Spec says, as resources, to every Envoy that asks (ADS, both protocols).

The only place that knows the messages of xds-protos. `resources` makes them, `stream` (no I/O) says what to send when, `server` talks,
`endpoints` reads the files of endpoints, `fleet` keeps what each Envoy has said.
"""
