;; Says something for ever.
;; kind: scheduler
;; expect: ends it ran for more than 300 ms
(func (export "scheduler#handle") (param i32) (result i32)
  (loop $again (call $log.write (i32.const 1) (text "still here")) (br $again)) unreachable)
