;; Says something at a level that does not exist.
;; kind: scheduler
;; expect: ends discriminant
(func (export "scheduler#handle") (param i32) (result i32)
  (call $log.write (i32.const 99) (text "loud")) (call $done))
