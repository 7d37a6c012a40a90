;; One line with a new line in it, which a reader of the file takes for a report of somebody else.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends a newline
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "reports/a.jsonl") (text "{}\0a{\22outcome\22:\22success\22}")))
