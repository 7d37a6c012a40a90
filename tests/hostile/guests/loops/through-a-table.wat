;; Two functions that call each other as their last deed, through a table: no stack, no end.
;; expect: ends it ran for more than 300 ms
(type $step (func))
(table $calls 2 funcref)
(elem (table $calls) (i32.const 0) func $one $two)
(func $one (return_call_indirect $calls (type $step) (i32.const 1)))
(func $two (return_call_indirect $calls (type $step) (i32.const 0)))
(func (export "step#run") (param i32 i32) (result i32) (call $one) unreachable)
