;; Answers with two thousand requests for builds.
;; kind: scheduler
;; expect: ends submit: expected at most 1000, found 2000
(func (export "scheduler#handle") (param i32) (result i32)
  (drop (memory.grow (i32.const 10)))
  (call $decide (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 2000)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
