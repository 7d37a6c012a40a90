;; Answers with an error of fifteen megabytes: it may cross the border, but is not to be kept and shown whole.
;; kind: reporter
;; expect: ends …
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 900)))
  (call $fail (i32.const 131072) (i32.const 15000000)))
