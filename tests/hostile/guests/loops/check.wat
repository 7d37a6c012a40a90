;; Loops for ever while a configuration is loaded.
;; call: check
;; expect: ends it ran for more than 300 ms
(func (export "step#check") (param i32 i32) (result i32)
  (loop $again (br $again)) unreachable)
