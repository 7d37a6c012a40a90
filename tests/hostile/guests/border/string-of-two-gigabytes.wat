;; Hands in a text that claims to be as long as the host's bit for another encoding.
;; kind: scheduler
;; expect: ends out of bounds
(func (export "scheduler#handle") (param i32) (result i32)
  (call $log.write (i32.const 1) (i32.const 0) (i32.const 0x80000000)) (call $done))
