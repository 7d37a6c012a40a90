;; Answers with a kind of error that does not exist.
;; kind: reporter
;; expect: ends discriminant
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $error (i32.const 200) (text "?")))
