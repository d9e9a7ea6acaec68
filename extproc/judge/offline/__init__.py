"""The judge before any traffic: a golden set is put to the canary, and to stable beside it, and their answers are judged.

    questions + models -> answers -> scores, preferences    judge.trial, with judge.asking and judge.client
    each end of these  -> results.jsonl                     records; judge.results keeps the file
    records            -> tally -> Findings -> report       tally and report here; cli.judged has the gate, which bets as `release` does

docs/judge-offline.md is the guide.
"""
