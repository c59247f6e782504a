package android.graphics;

public class Paint {
  public enum Style { FILL, STROKE }
  public int getColor() { return 0; }
  public void setColor(int color) {}
  public Style getStyle() { return Style.FILL; }
  public void setStyle(Style style) {}
  public float getStrokeWidth() { return 0; }
  public void setStrokeWidth(float width) {}
  public float getTextSize() { return 0; }
  public void setTextSize(float size) {}
}
