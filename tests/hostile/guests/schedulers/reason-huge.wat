;; A reason of ten megabytes, which would be stored and shown.
;; kind: scheduler
;; expect: ends reason
(func (export "scheduler#handle") (param i32) (result i32)
  (drop (memory.grow (i32.const 200)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 10000000))
  (i32.store offset=24 (i32.const 512) (i32.const 131072))
  (i32.store offset=28 (i32.const 512) (i32.const 10000000))
  (call $decide (i32.const 0) (i32.const 0) (i32.const 512) (i32.const 1)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
