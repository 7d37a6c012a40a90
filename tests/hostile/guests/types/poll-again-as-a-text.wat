;; A change source that says in a text when to look again.
;; kind: change-source
;; wit: poll-again-ms: u64, => poll-again-ms: string,
;; expect: refused type mismatch for field poll-again-ms
