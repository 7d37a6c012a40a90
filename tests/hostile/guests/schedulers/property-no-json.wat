;; A property that is no JSON.
;; kind: scheduler
;; expect: ends expected JSON
(func (export "scheduler#handle") (param i32) (result i32)
  (i32.store offset=0 (i32.const 700) (i32.const 600)) (i32.store offset=4 (i32.const 700) (i32.const 1))
  (i32.store offset=8 (i32.const 700) (i32.const 600)) (i32.store offset=12 (i32.const 700) (i32.const 1))
  (i32.store8 (i32.const 600) (i32.const 97))
  (i32.store offset=32 (i32.const 512) (i32.const 700)) (i32.store offset=36 (i32.const 512) (i32.const 1))
  (call $decide (i32.const 0) (i32.const 0) (i32.const 512) (i32.const 1)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
