package org.tensorflow.lite;

/** The names of the genuine enumeration, by their numbers in the C API. */
public enum DataType {
  FLOAT32,
  INT32,
  UINT8,
  INT64,
  STRING,
  BOOL,
  INT16,
  INT8;

  static DataType of(int number) {
    switch (number) {
      case 1: return FLOAT32;
      case 2: return INT32;
      case 3: return UINT8;
      case 4: return INT64;
      case 5: return STRING;
      case 6: return BOOL;
      case 7: return INT16;
      case 9: return INT8;
      default: throw new IllegalArgumentException("type " + number);
    }
  }
}
