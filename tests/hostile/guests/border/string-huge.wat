;; Hands in a text of forty megabytes, which it really has.
;; kind: scheduler
;; expect: ends fuel
(func (export "scheduler#handle") (param i32) (result i32)
  (drop (memory.grow (i32.const 900)))
  (call $log.write (i32.const 1) (i32.const 0) (i32.const 40000000)) (call $done))
