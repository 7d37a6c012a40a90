;; Keeps something under a key that nobody granted.
;; kind: reporter
;; grants: state = ["own/*"]
;; expect: ends may not use state
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $state.set (text "other/a") (text "x") (i32.const 256))
  (call $pass-on))
