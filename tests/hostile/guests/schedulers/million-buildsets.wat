;; Answers with a million requests for builds, all of them one record of its memory.
;; kind: scheduler
;; expect: ends fuel
(func (export "scheduler#handle") (param i32) (result i32)
  (drop (memory.grow (i32.const 980)))
  (call $decide (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 1000000)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
