;; Clears a million timers that it never set.
;; kind: scheduler
;; expect: ends fuel
(func (export "scheduler#handle") (param i32) (result i32)
  (drop (memory.grow (i32.const 200)))
  (call $decide (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 1000000)))
