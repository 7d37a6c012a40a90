;; Declares more memory than its limit, but no more than some manifest might ask for.
;; kind: scheduler
;; expect: ends more than its memory limit of 64 MiB
(memory $memory (export "memory") 4096)
