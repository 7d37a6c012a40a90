;; Sets a timer for the year 300000 and one for before the beginning of time: both are times.
;; kind: scheduler
;; expect: answers Timestamp(-9223372036854775808)
(func (export "scheduler#handle") (param i32) (result i32)
  (i32.store (i32.const 512) (i32.const 600)) (i32.store (i32.const 516) (i32.const 1))
  (i64.store (i32.const 520) (i64.const 9403977600000000))
  (i32.store (i32.const 528) (i32.const 600)) (i32.store (i32.const 532) (i32.const 1))
  (i64.store (i32.const 536) (i64.const 0x8000000000000000))
  (i32.store8 (i32.const 600) (i32.const 97))
  (call $decide (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 512) (i32.const 2) (i32.const 0) (i32.const 0)))
