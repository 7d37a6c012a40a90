;; Recursion without end that calls the host in every frame: the host runs where the guest's stack is about to end.
;; kind: scheduler
;; expect: ends its stack overflowed
(func $down (call $log.write (i32.const 0) (text "deeper")) (call $down) (call $log.write (i32.const 0) (text "never")))
(func (export "scheduler#handle") (param i32) (result i32) (call $down) (call $done))
