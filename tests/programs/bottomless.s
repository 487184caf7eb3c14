# A program whose debug information is a million calls inlined into each other: whoever reads it runs out of stack.
  .text
  .globl _start
  .type _start, %function
_start: .fill 64, 1, 0
  .size _start, 64
  .section .debug_abbrev,"",%progbits
  .byte 1, 0x11, 1, 0x11, 0x01, 0x12, 0x07, 0, 0
  .byte 2, 0x2e, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0, 0
  .byte 3, 0x1d, 1, 0, 0
  .byte 0
  .section .debug_info,"",%progbits
  .long end - start
start:
  .short 4
  .long 0
  .byte 8, 1
  .quad _start, 64
  .byte 2
  .asciz "bottomless"
  .quad _start, 64
  .fill 1000000, 1, 3
end:
