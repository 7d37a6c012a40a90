;; A key with a new line in it.
;; kind: reporter
;; grants: state = ["own/*"]
;; expect: ends a key of words
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $state.set (text "own/a\0ab") (text "x") (i32.const 256))
  (call $pass-on))
