;; Recursion without end through a table, where no compiler can see it.
;; kind: scheduler
;; expect: ends its stack overflowed
(type $step (func (param i32) (result i32)))
(table $calls 1 funcref)
(elem (table $calls) (i32.const 0) func $down)
(func $down (type $step) (i32.add (i32.const 1) (call_indirect $calls (type $step) (local.get 0) (i32.const 0))))
(func (export "scheduler#handle") (param i32) (result i32) (drop (call $down (i32.const 1))) (call $done))
