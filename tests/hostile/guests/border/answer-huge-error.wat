;; Answers with an error of forty megabytes of text, which would be stored and shown.
;; kind: reporter
;; expect: ends fuel
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 900)))
  (call $fail (i32.const 0) (i32.const 40000000)))
