;; Answers with a state of a hundred megabytes, most of which it does not have.
;; kind: scheduler
;; expect: ends out of bounds
(func (export "scheduler#handle") (param i32) (result i32)
  (call $decide (i32.const 0) (i32.const 100000000) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
