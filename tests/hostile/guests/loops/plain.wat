;; Loops for ever without a call.
;; expect: ends it ran for more than 300 ms
(func (export "step#run") (param i32 i32) (result i32)
  (loop $again (br $again)) unreachable)
