;; Keeps something while a configuration is only checked.
;; kind: reporter
;; call: check
;; grants: state = ["*"]
;; expect: ends state.set, which is not allowed here
(func (export "reporter#check") (param i32 i32) (result i32)
  (call $state.set (text "a") (text "x") (i32.const 256)) (i32.const 128))
