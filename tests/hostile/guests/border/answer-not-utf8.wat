;; Answers with an error whose text is no UTF-8.
;; kind: reporter
;; expect: ends invalid utf-8
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $fail (text "\c3\28")))
