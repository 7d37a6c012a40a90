;; An error with terminal escapes and a script in it, for whoever reads the log or the page.
;; kind: reporter
;; expect: ends
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $fail (text "\1b[2J\1b]0;pwned\07<script>alert(1)</script>")))
