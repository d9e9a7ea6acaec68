"""extproc: canary releases for LLM applications, decided in microseconds at the Envoy edge.

The map. Four documents and four functions between them:

    compile  : Spec + State                     -> Snapshot     extproc.assign.compile     cold, once per change
    assign   : Snapshot + Subject               -> Assignment   extproc.assign.assign      HOT, microseconds
    evaluate : Gate + Evidence                  -> Finding      extproc.release.gate       verdict + reason with numbers
    decide   : Rollout + State + Findings + now -> Decision     extproc.release.decide     then apply -> State, Journal

A request:  Envoy -> transport -> router.processor -> wire.read_subject -> assign -> prebuilt reply bytes -> Envoy picks the model.
An outcome: Envoy's access log -> controller.collector -> wire.read_outcome -> release.evidence -> evaluate -> decide -> store
            -> every router, which re-derives its thresholds.
An answer:  a copy, beside the request -> controller.copies -> judge.sampling (assembled, redacted) -> judge.pipeline -> store.samples
            -> controller.scores -> release.ratings -> evaluate. Nobody waits for it.
"""

__version__ = "0.1.0"
