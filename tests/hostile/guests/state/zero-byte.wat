;; A key with a zero byte in it.
;; kind: reporter
;; grants: state = ["own/*"]
;; expect: ends a key of words
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $state.set (text "own/a\00") (text "x") (i32.const 256))
  (call $pass-on))
