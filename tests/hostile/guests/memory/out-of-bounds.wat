;; Reads behind its memory.
;; kind: reporter
;; expect: ends outside its memory
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (i32.load (i32.const -4)))
