;; A line of ten megabytes.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends a line of at most
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 400)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 10000000))
  (call $append (text "reports/a.jsonl") (i32.const 131072) (i32.const 10000000)))
