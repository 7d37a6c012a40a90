;; Keeps a megabyte under one key.
;; kind: reporter
;; grants: state = ["*"]
;; expect: ends a value of at most
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (call $state.set (text "a") (i32.const 131072) (i32.const 1000000) (i32.const 256))
  (call $pass-on))
