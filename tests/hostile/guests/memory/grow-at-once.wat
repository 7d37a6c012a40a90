;; Grows its memory by all that 32 bits can address.
;; kind: scheduler
;; expect: ends more than its memory limit of 64 MiB
(func (export "scheduler#handle") (param i32) (result i32)
  (drop (memory.grow (i32.const 65534))) (call $done))
