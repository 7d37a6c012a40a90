;; Hands in a text whose address and length add up to less than either.
;; kind: scheduler
;; expect: ends out of bounds
(func (export "scheduler#handle") (param i32) (result i32)
  (call $log.write (i32.const 1) (i32.const -16) (i32.const 64)) (call $done))
