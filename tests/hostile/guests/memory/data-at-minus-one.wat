;; A data segment at the last address that 32 bits have.
;; kind: scheduler
;; expect: ends outside its memory
(data (i32.const -1) "around the corner")
