;; Every import of a reporter, and answers. `$done` is delivered, `$fail` is `permanent` with a text.

(import "capstan:plugin/log@wit" "write" (func $log.write (param i32 i32 i32)))
(import "capstan:plugin/http@wit" "fetch" (func $http.fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(import "capstan:plugin/report-files@wit" "append-line" (func $files.append (param i32 i32 i32 i32 i32)))
(import "capstan:plugin/state@wit" "get" (func $state.get (param i32 i32 i32)))
(import "capstan:plugin/state@wit" "set" (func $state.set (param i32 i32 i32 i32 i32)))
(import "capstan:plugin/mail@wit" "[constructor]message" (func $mail.new (result i32)))
(import "capstan:plugin/mail@wit" "[method]message.add-to" (func $mail.add-to (param i32 i32 i32)))
(import "capstan:plugin/mail@wit" "[method]message.set-subject" (func $mail.set-subject (param i32 i32 i32)))
(import "capstan:plugin/mail@wit" "[method]message.set-text" (func $mail.set-text (param i32 i32 i32)))
(import "capstan:plugin/mail@wit" "[method]message.add-header" (func $mail.add-header (param i32 i32 i32 i32 i32)))
(import "capstan:plugin/mail@wit" "[method]message.attach" (func $mail.attach (param i32 i32 i32 i32 i32 i32 i32)))
(import "capstan:plugin/mail@wit" "send" (func $mail.send (param i32 i32)))
(import "capstan:plugin/mail@wit" "[resource-drop]message" (func $mail.drop (param i32)))
(import "capstan:plugin/reports@wit" "[method]report.delivery-id" (func $report.delivery-id (param i32 i32)))
(import "capstan:plugin/reports@wit" "[method]report.to-json" (func $report.to-json (param i32 i32)))
(import "capstan:plugin/reports@wit" "[resource-drop]report" (func $report.drop (param i32)))

;; Answers lie at 128 (delivered) and 16 (an error); what the host answers goes to 256. The report is only lent, always as
;; the first handle: it must be given back before `deliver` answers.
(func $done (result i32) (call $report.drop (i32.const 1)) (i32.const 128))
(func $error (param $case i32) (param $text i32) (param $length i32) (result i32)
  (call $report.drop (i32.const 1))
  (i32.store8 (i32.const 16) (i32.const 1))
  (i32.store8 (i32.const 20) (local.get $case))
  (i32.store (i32.const 24) (local.get $text))
  (i32.store (i32.const 28) (local.get $length))
  (i32.const 16))
(func $fail (param $text i32) (param $length i32) (result i32)
  (call $error (i32.const 2) (local.get $text) (local.get $length)))

;; Whatever the host answered at 256: an error is passed on, anything else is a good answer.
(func $pass-on (result i32)
  (if (i32.load8_u (i32.const 256))
    (then (return (call $fail (i32.load (i32.const 264)) (i32.load (i32.const 268))))))
  (call $done))

(func $append (param $path i32) (param $size i32) (param $line i32) (param $length i32) (result i32)
  (call $files.append (local.get $path) (local.get $size) (local.get $line) (local.get $length) (i32.const 256))
  (call $pass-on))

;; One request without a body: its URL, the name of a header and the secret that is its value.
(func $post (param $url i32) (param $url-size i32) (param $name i32) (param $name-size i32)
    (param $secret i32) (param $secret-size i32) (result i32)
  (i32.store (i32.const 512) (local.get $name))
  (i32.store (i32.const 516) (local.get $name-size))
  (i32.store (i32.const 520) (local.get $secret))
  (i32.store (i32.const 524) (local.get $secret-size))
  (call $http.fetch (text "POST") (local.get $url) (local.get $url-size) (i32.const 0) (i32.const 0)
    (i32.const 512) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 2000) (i32.const 256))
  (call $pass-on))

;; A message to one address, with a subject.
(func $message (param $to i32) (param $to-size i32) (param $subject i32) (param $subject-size i32) (result i32)
  (local $message i32)
  (local.set $message (call $mail.new))
  (call $mail.add-to (local.get $message) (local.get $to) (local.get $to-size))
  (call $mail.set-subject (local.get $message) (local.get $subject) (local.get $subject-size))
  (local.get $message))

(func $send (param $message i32) (result i32)
  (call $mail.send (local.get $message) (i32.const 256))
  (call $mail.drop (local.get $message))
  (call $pass-on))

(func (export "reporter#check") (param i32 i32) (result i32) (i32.const 128))
(func (export "reporter#deliver") (param i32 i32 i32) (result i32) (call $done))
