;; Answers with a state of two megabytes.
;; kind: scheduler
;; expect: ends state: expected at most 1048576
(func (export "scheduler#handle") (param i32) (result i32)
  (drop (memory.grow (i32.const 40)))
  (call $decide (i32.const 131072) (i32.const 2000000) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
